package main

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"syscall"
	"testing"
)

func TestARouteMessageIsReadBack(t *testing.T) {
	wanted := route{netip.MustParsePrefix("10.252.1.0/24"), netip.MustParseAddr("10.25.13.12")}
	messages, err := syscall.ParseNetlinkMessage(routeMessage(syscall.RTM_NEWROUTE, syscall.NLM_F_CREATE, wanted))
	if err != nil {
		t.Fatal(err)
	}
	found, err := ownRoutes(messages)
	if err != nil || !reflect.DeepEqual(found, []route{wanted}) {
		t.Errorf("found %v, error %v", found, err)
	}
	messages[0].Data[5] = syscall.RTPROT_BOOT // somebody else's
	if found, _ = ownRoutes(messages); found != nil {
		t.Errorf("took %v for ours", found)
	}
}

func TestAcknowledgement(t *testing.T) {
	answer := make([]byte, 36)
	binary.NativeEndian.PutUint32(answer[0:], 36)
	binary.NativeEndian.PutUint16(answer[4:], syscall.NLMSG_ERROR)
	if err := acknowledgement(answer); err != nil {
		t.Errorf("success gave %v", err)
	}
	refused := -int32(syscall.ENETUNREACH)
	binary.NativeEndian.PutUint32(answer[16:], uint32(refused))
	if err := acknowledgement(answer); err != syscall.ENETUNREACH {
		t.Errorf("refusal gave %v", err)
	}
}
