// Command agnhost is the probe image's program with the commands that need nothing of Kubernetes' client.
//
// Each command is upstream's own package; without the rest of them the program is a tenth of its size.
package main

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/kubernetes/test/images/agnhost/connect"
	"k8s.io/kubernetes/test/images/agnhost/dns"
	"k8s.io/kubernetes/test/images/agnhost/pause"
)

var version = "unknown"

func main() {
	root := &cobra.Command{Use: "app", Version: version}
	root.AddCommand(connect.CmdConnect, dns.CmdDNSSuffix, dns.CmdDNSServerList, dns.CmdEtcHosts, pause.CmdPause)
	if root.Execute() != nil {
		os.Exit(1)
	}
}
