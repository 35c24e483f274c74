package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

type fakeHost struct {
	written []byte
	present []route
	set     []route
	removed []route
}

func (h *fakeHost) mtu(netip.Addr) (int, error)             { return 9000, nil }
func (h *fakeHost) forward() error                          { return nil }
func (h *fakeHost) writeConfiguration(content []byte) error { h.written = content; return nil }
func (h *fakeHost) routes() ([]route, error)                { return h.present, nil }
func (h *fakeHost) setRoute(r route) error                  { h.set = append(h.set, r); return nil }
func (h *fakeHost) removeRoute(r route) error               { h.removed = append(h.removed, r); return nil }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// account is an API server with TLS and a pod's account folder for it.
func account(t *testing.T, handle http.HandlerFunc) *kubernetes {
	t.Helper()
	server := httptest.NewTLSServer(handle)
	t.Cleanup(server.Close)
	folder := t.TempDir()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, content := range map[string][]byte{"ca.crt": certificate, "token": []byte("a-token\n")} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	api, err := newKubernetes(server.URL, folder)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func description(name, network, address string, taints ...taint) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"name": name, "resourceVersion": "7"},
		"spec":     map[string]any{"podCIDRs": []string{network}, "taints": taints},
		"status":   map[string]any{"addresses": []any{map[string]any{"type": "InternalIP", "address": address}}},
	}
}

func TestAgentBuildsTheNetworkOfItsNode(t *testing.T) {
	var patch map[string]any
	api := account(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer a-token" {
			t.Errorf("authorization %q", got)
		}
		if r.Method == http.MethodPatch {
			_ = json.NewDecoder(r.Body).Decode(&patch)
			_, _ = w.Write([]byte("{}"))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"items": []any{
			description("one", "10.252.0.0/24", "10.25.13.11", taint{Key: agentTaint, Effect: "NoExecute"}, taint{Key: "other", Effect: "NoSchedule"}),
			description("two", "10.252.1.0/24", "10.25.13.12"),
		}})
	})
	gone := route{netip.MustParsePrefix("10.252.9.0/24"), netip.MustParseAddr("10.25.13.19")}
	machine := &fakeHost{present: []route{gone}}
	a := &agent{node: "one", api: api, host: machine, log: quiet()}
	if err := a.once(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []string{`"subnet": "10.252.0.0/24"`, `"mtu": 9000`, `"type": "portmap"`} {
		if !strings.Contains(string(machine.written), wanted) {
			t.Errorf("configuration lacks %s:\n%s", wanted, machine.written)
		}
	}
	two := route{netip.MustParsePrefix("10.252.1.0/24"), netip.MustParseAddr("10.25.13.12")}
	if !reflect.DeepEqual(machine.set, []route{two}) || !reflect.DeepEqual(machine.removed, []route{gone}) {
		t.Errorf("set %v, removed %v", machine.set, machine.removed)
	}
	taints := patch["spec"].(map[string]any)["taints"].([]any)
	if len(taints) != 1 || taints[0].(map[string]any)["key"] != "other" {
		t.Errorf("taints %v", taints)
	}
}

func TestAgentWaitsForItsPartOfThePodNetwork(t *testing.T) {
	for name, body := range map[string]string{
		"is not registered":        `{"items": []}`,
		"has no IPv4 podCIDR yet":  `{"items": [{"metadata": {"name": "one"}}]}`,
		"has no internal IPv4":     `{"items": [{"metadata": {"name": "one"}, "spec": {"podCIDRs": ["10.252.0.0/24"]}}]}`,
		"API server: 401 no entry": "",
	} {
		t.Run(name, func(t *testing.T) {
			api := account(t, func(w http.ResponseWriter, _ *http.Request) {
				if body == "" {
					w.WriteHeader(http.StatusUnauthorized)
					_, _ = w.Write([]byte(`{"message": "no entry"}`))
					return
				}
				_, _ = w.Write([]byte(body))
			})
			machine := &fakeHost{}
			err := (&agent{node: "one", api: api, host: machine, log: quiet()}).once(context.Background())
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v", err)
			}
			if machine.written != nil {
				t.Error("wrote a configuration")
			}
		})
	}
}

func TestRouteChangesFollowAnAddress(t *testing.T) {
	network := netip.MustParsePrefix("10.252.1.0/24")
	before := route{network, netip.MustParseAddr("10.25.13.12")}
	after := route{network, netip.MustParseAddr("10.25.13.22")}
	set, remove := routeChanges([]route{after}, []route{before})
	if !reflect.DeepEqual(set, []route{after}) || remove != nil {
		t.Errorf("set %v, remove %v", set, remove)
	}
	if set, remove = routeChanges([]route{after}, []route{after}); set != nil || remove != nil {
		t.Errorf("equal tables gave %v and %v", set, remove)
	}
}

func TestReplaceFileLeavesAnEqualFileAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.conflist")
	if err := replaceFile(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	first, _ := os.Stat(path)
	if err := replaceFile(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	second, _ := os.Stat(path)
	if !os.SameFile(first, second) {
		t.Error("an equal file was replaced")
	}
	if err := replaceFile(path, []byte("two")); err != nil {
		t.Fatal(err)
	}
	if content, _ := os.ReadFile(path); string(content) != "two" {
		t.Errorf("content %q", content)
	}
}
