package main

import (
	"context"
	"crypto/aes"
	"net"
	"testing"
	"time"

	clientpb "github.com/siderolabs/discovery-api/api/v1alpha1/client/pb"
	"github.com/siderolabs/discovery-api/api/v1alpha1/server/pb"
	"github.com/siderolabs/discovery-client/pkg/client"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// What a client that does not connect in time is told; the first try comes after half a second.
const patience = 20 * time.Second

func TestMachinesOfAClusterHearOfEachOther(t *testing.T) {
	address := served(t, newRegistry(time.Now))
	first, _ := joined(t, address, "a cluster", "first")
	second, heard := joined(t, address, "a cluster", "second")
	stranger, _ := joined(t, address, "another", "stranger")

	await(t, heard, func() bool { return len(second.GetAffiliates()) == 1 })
	other := second.GetAffiliates()[0]
	if other.Affiliate.NodeId != "first" || len(other.Endpoints) != 1 {
		t.Errorf("the second heard %v", other)
	}
	if len(stranger.GetAffiliates()) != 0 {
		t.Error("another cluster heard of it")
	}

	first.DeleteLocalAffiliate()
	await(t, heard, func() bool { return len(second.GetAffiliates()) == 0 })
}

func TestWhoIsSilentIsForgotten(t *testing.T) {
	now := time.Unix(0, 0)
	r := newRegistry(func() time.Time { return now })
	r.update("c", "machine", []byte("data"), [][]byte{[]byte("own")}, time.Hour)
	r.update("c", "machine", nil, [][]byte{[]byte("own"), []byte("seen by another")}, time.Minute)
	_, changes, end := r.watch("c")
	defer end()

	r.update("c", "machine", []byte("data"), [][]byte{[]byte("own")}, time.Hour)
	now = now.Add(2 * time.Minute)
	r.expire()
	if got := r.list("c"); len(got) != 1 || len(got[0].Endpoints) != 1 {
		t.Errorf("after two minutes: %v", got)
	}
	if change := <-changes; change.Deleted || len(change.Affiliates[0].Endpoints) != 1 {
		t.Errorf("told %v", change)
	}

	now = now.Add(2 * time.Hour)
	r.expire()
	if change := <-changes; !change.Deleted || change.Affiliates[0].Id != "machine" {
		t.Errorf("told %v", change)
	}
	if got := r.list("c"); len(got) != 0 {
		t.Errorf("after two hours: %v", got)
	}
}

func TestNothingNewIsNotTold(t *testing.T) {
	r := newRegistry(time.Now)
	r.update("c", "machine", []byte("data"), nil, time.Hour)
	_, changes, end := r.watch("c")
	defer end()
	r.update("c", "machine", []byte("data"), nil, time.Hour)
	select {
	case change := <-changes:
		t.Errorf("told %v", change)
	default:
	}
}

func TestWhoReadsTooSlowlyWatchesAnew(t *testing.T) {
	r := newRegistry(time.Now)
	_, changes, end := r.watch("c")
	defer end()
	for number := range backlog + 1 {
		r.update("c", "machine", []byte{byte(number)}, nil, time.Hour)
	}
	for range backlog {
		<-changes
	}
	if _, open := <-changes; open {
		t.Error("it is not told that it missed something")
	}
}

func served(t *testing.T, r *registry) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterClusterServer(server, &service{registry: r})
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// joined is a machine with Talos' own client, and a channel that says when it heard something.
func joined(t *testing.T, address, cluster, id string) (*client.Client, <-chan struct{}) {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.NewClient(client.Options{
		Cipher: block, Endpoint: address, ClusterID: cluster, AffiliateID: id, TTL: time.Minute, Insecure: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	self := &client.Affiliate{
		Affiliate: &clientpb.Affiliate{NodeId: id},
		Endpoints: []*clientpb.Endpoint{{Ip: []byte{10, 0, 0, 1}, Port: 50000}},
	}
	if err := c.SetLocalData(self, nil); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	heard, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		if err := c.Run(ctx, zap.NewNop(), heard); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return c, heard
}

func await(t *testing.T, heard <-chan struct{}, holds func() bool) {
	t.Helper()
	late := time.After(patience)
	for !holds() {
		select {
		case <-heard:
		case <-late:
			t.Fatal("it never heard of it")
		}
	}
}
