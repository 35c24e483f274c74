package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keep puts content where containerd keeps it and gives its digest.
func keep(t *testing.T, store, content string) string {
	t.Helper()
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	folder := filepath.Join(store, "blobs", "sha256")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, digest), []byte(content), 0o444); err != nil {
		t.Fatal(err)
	}
	return "sha256:" + digest
}

func ask(t *testing.T, store, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	request := httptest.NewRequest(method, path, nil)
	if len(header) == 2 {
		request.Header.Set(header[0], header[1])
	}
	recorder := httptest.NewRecorder()
	mirror{store}.ServeHTTP(recorder, request)
	response := recorder.Result()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestAnswers(t *testing.T) {
	store := t.TempDir()
	const typed, plain = `{"mediaType": "application/vnd.docker.distribution.manifest.v2+json"}`, `{"schemaVersion": 2}`
	const index = `{"schemaVersion": 2, "manifests": []}`
	layer := keep(t, store, "a layer")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	unknown := "sha256:" + strings.Repeat("0", 64)
	for _, one := range []struct {
		method, path string
		status       int
		mediaType    string
		body         string
	}{
		{"GET", "/v2/", 200, "", ""},
		{"GET", "/v2", 200, "", ""},
		{"HEAD", "/v2/", 200, "", ""},
		{"GET", "/livez", 200, "", ""},
		{"GET", "/readyz", 200, "", ""},
		{"GET", "/v2/a/b/blobs/" + layer + "?ns=ghcr.io", 200, "application/octet-stream", "a layer"},
		{"HEAD", "/v2/a/blobs/" + layer, 200, "application/octet-stream", ""},
		{"GET", "/v2/a/manifests/" + keep(t, store, typed), 200, "application/vnd.docker.distribution.manifest.v2+json", typed},
		{"GET", "/v2/a/manifests/" + keep(t, store, plain), 200, "application/vnd.oci.image.manifest.v1+json", plain},
		{"GET", "/v2/a/manifests/" + keep(t, store, index), 200, "application/vnd.oci.image.index.v1+json", index},
		{"GET", "/v2/a/manifests/" + layer, 500, "text/plain; charset=utf-8", "this is no manifest: invalid character 'a' looking for beginning of value\n"},
		{"GET", "/v2/a/blobs/" + unknown, 404, "text/plain; charset=utf-8", "404 page not found\n"},
		{"GET", "/v2/a/manifests/latest", 404, "text/plain; charset=utf-8", "404 page not found\n"},
		{"GET", "/v2/a/blobs/../../../../" + secret, 404, "text/plain; charset=utf-8", "404 page not found\n"},
		{"POST", "/v2/a/blobs/uploads/", 405, "text/plain; charset=utf-8", "this registry is read only\n"},
	} {
		response, body := ask(t, store, one.method, one.path)
		if response.StatusCode != one.status || body != one.body || response.Header.Get("Content-Type") != one.mediaType {
			t.Errorf("%s %s: %d %q %q", one.method, one.path, response.StatusCode, response.Header.Get("Content-Type"), body)
		}
	}
}

func TestARangeIsServed(t *testing.T) {
	store := t.TempDir()
	digest := keep(t, store, "a layer")
	response, body := ask(t, store, "GET", "/v2/a/blobs/"+digest, "Range", "bytes=2-")
	if response.StatusCode != 206 || body != "layer" || response.Header.Get("Docker-Content-Digest") != digest {
		t.Errorf("%d %q %q", response.StatusCode, body, response.Header.Get("Docker-Content-Digest"))
	}
}

func TestAStoreThatCannotBeReadIsNotReady(t *testing.T) {
	store := filepath.Join(t.TempDir(), "nowhere")
	for path, status := range map[string]int{"/readyz": 503, "/livez": 200, "/v2/": 200} {
		if response, _ := ask(t, store, "GET", path); response.StatusCode != status {
			t.Errorf("%s: %d", path, response.StatusCode)
		}
	}
}

func TestArguments(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	end()
	// As the real chart gives them, a list among them.
	const words = "registry --registry-addr=127.0.0.1:0 --mirrored-registries https://ghcr.io --containerd-content-path=/x"
	for line, wrong := range map[string]string{
		words:                            "",
		"configuration --log-level=INFO": "",
		"cleanup":                        "",
		"":                               "usage: spegel-lab registry|configuration|cleanup [flags]",
		"serve":                          "usage: spegel-lab registry|configuration|cleanup [flags]",
		"registry --registry-addr=:0":    "--containerd-content-path is not given",
		"registry --containerd-content-path=/x --registry-addr=nowhere": "listen tcp: address nowhere: missing port in address",
	} {
		err := run(ended, strings.Fields(line))
		if (err == nil) != (wrong == "") || (err != nil && err.Error() != wrong) {
			t.Errorf("%q: %v", line, err)
		}
	}
}
