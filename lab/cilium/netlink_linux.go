package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"unsafe"
)

// routeProtocol marks our routes in the kernel's table; the kernel gives no meaning to numbers above 4, and no
// routing daemon of iproute2's rt_protos has this one.
const routeProtocol = 118

func (linuxHost) routes() ([]route, error) {
	table, err := syscall.NetlinkRIB(syscall.RTM_GETROUTE, syscall.AF_INET)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return nil, err
	}
	return ownRoutes(messages)
}

// ownRoutes picks the routes with our mark out of a dump of the table.
func ownRoutes(messages []syscall.NetlinkMessage) ([]route, error) {
	var found []route
	for i := range messages {
		if messages[i].Header.Type != syscall.RTM_NEWROUTE || len(messages[i].Data) < syscall.SizeofRtMsg {
			continue
		}
		head := (*syscall.RtMsg)(unsafe.Pointer(&messages[i].Data[0]))
		if head.Protocol != routeProtocol || head.Family != syscall.AF_INET {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(&messages[i])
		if err != nil {
			return nil, err
		}
		one := route{}
		for _, attribute := range attributes {
			address, ok := netip.AddrFromSlice(attribute.Value)
			switch {
			case attribute.Attr.Type == syscall.RTA_DST && ok:
				one.to = netip.PrefixFrom(address, int(head.Dst_len))
			case attribute.Attr.Type == syscall.RTA_GATEWAY && ok:
				one.via = address
			}
		}
		found = append(found, one)
	}
	return found, nil
}

func (linuxHost) setRoute(r route) error {
	return request(routeMessage(syscall.RTM_NEWROUTE, syscall.NLM_F_CREATE|syscall.NLM_F_REPLACE, r))
}

func (linuxHost) removeRoute(r route) error {
	return request(routeMessage(syscall.RTM_DELROUTE, 0, r))
}

// routeMessage is a request to the kernel as rtnetlink(7) describes it.
func routeMessage(kind uint16, flags uint16, r route) []byte {
	order := binary.NativeEndian
	body := []byte{
		syscall.AF_INET, byte(r.to.Bits()), 0, 0, // family, destination and source length, type of service
		syscall.RT_TABLE_MAIN, routeProtocol, syscall.RT_SCOPE_UNIVERSE, syscall.RTN_UNICAST,
		0, 0, 0, 0, // flags
	}
	body = append(body, routeAttribute(syscall.RTA_DST, r.to.Addr())...)
	body = append(body, routeAttribute(syscall.RTA_GATEWAY, r.via)...)
	head := make([]byte, syscall.NLMSG_HDRLEN)
	order.PutUint32(head[0:], uint32(len(head)+len(body)))
	order.PutUint16(head[4:], kind)
	order.PutUint16(head[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_ACK|flags)
	order.PutUint32(head[8:], 1)
	return append(head, body...)
}

func routeAttribute(kind uint16, address netip.Addr) []byte {
	value := address.As4()
	text := make([]byte, syscall.SizeofRtAttr, syscall.SizeofRtAttr+len(value))
	binary.NativeEndian.PutUint16(text[0:], uint16(syscall.SizeofRtAttr+len(value)))
	binary.NativeEndian.PutUint16(text[2:], kind)
	return append(text, value[:]...)
}

// request sends one message and waits for the kernel's acknowledgement.
func request(message []byte) error {
	descriptor, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer syscall.Close(descriptor)
	kernel := &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}
	if err := syscall.Sendto(descriptor, message, 0, kernel); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	buffer := make([]byte, syscall.Getpagesize())
	count, _, err := syscall.Recvfrom(descriptor, buffer, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	return acknowledgement(buffer[:count])
}

// acknowledgement is nil when the kernel's answer reports no error.
func acknowledgement(answer []byte) error {
	messages, err := syscall.ParseNetlinkMessage(answer)
	if err != nil {
		return err
	}
	for _, message := range messages {
		if message.Header.Type == syscall.NLMSG_ERROR && len(message.Data) >= 4 {
			if code := int32(binary.NativeEndian.Uint32(message.Data)); code != 0 {
				return syscall.Errno(-code)
			}
			return nil
		}
	}
	return fmt.Errorf("the kernel did not acknowledge")
}
