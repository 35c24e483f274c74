package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/siderolabs/discovery-api/api/v1alpha1/server/pb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// service answers machines.
type service struct {
	pb.UnimplementedClusterServer
	registry *registry
}

func (s *service) Hello(ctx context.Context, _ *pb.HelloRequest) (*pb.HelloResponse, error) {
	answer := &pb.HelloResponse{}
	if from, known := peer.FromContext(ctx); known {
		if address, err := netip.ParseAddrPort(from.Addr.String()); err == nil {
			answer.ClientIp = address.Addr().Unmap().AsSlice()
		}
	}
	return answer, nil
}

func (s *service) AffiliateUpdate(
	_ context.Context, told *pb.AffiliateUpdateRequest,
) (*pb.AffiliateUpdateResponse, error) {
	isNew := s.registry.update(
		told.ClusterId, told.AffiliateId, told.AffiliateData, told.AffiliateEndpoints, told.Ttl.AsDuration(),
	)
	if isNew {
		fmt.Println("heard of", told.AffiliateId)
	}
	return &pb.AffiliateUpdateResponse{}, nil
}

func (s *service) AffiliateDelete(
	_ context.Context, told *pb.AffiliateDeleteRequest,
) (*pb.AffiliateDeleteResponse, error) {
	s.registry.remove(told.ClusterId, told.AffiliateId)
	return &pb.AffiliateDeleteResponse{}, nil
}

func (s *service) List(_ context.Context, asked *pb.ListRequest) (*pb.ListResponse, error) {
	return &pb.ListResponse{Affiliates: s.registry.list(asked.ClusterId)}, nil
}

func (s *service) Watch(asked *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.WatchResponse]) error {
	all, changes, end := s.registry.watch(asked.ClusterId)
	defer end()
	if err := stream.Send(&pb.WatchResponse{Affiliates: all}); err != nil {
		return err
	}
	for {
		select {
		case <-stream.Context().Done():
			return nil
		case change, open := <-changes:
			if !open {
				return status.Error(codes.ResourceExhausted, "too far behind")
			}
			if err := stream.Send(change); err != nil {
				return err
			}
		}
	}
}
