package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

// statusError is an answer of the API server that is not a success.
type statusError struct {
	code    int
	message string
}

func (e *statusError) Error() string { return fmt.Sprintf("API server: %d %s", e.code, e.message) }

// kubernetes asks the API server with the pod's own token.
type kubernetes struct {
	base   string
	folder string
	client *http.Client
}

// inCluster takes the address from the environment, so that no Service is needed, and the account from the pod.
func inCluster() (*kubernetes, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, fmt.Errorf("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
	}
	return newKubernetes("https://"+net.JoinHostPort(host, port), accountFolder)
}

func newKubernetes(base, folder string) (*kubernetes, error) {
	authority, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s/ca.crt holds no certificate", folder)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	// An emulated API server that starts answers within seconds; a hanging one must not hold the loop.
	return &kubernetes{base, folder, &http.Client{Transport: transport, Timeout: 15 * time.Second}}, nil
}

// call sends a request and decodes the answer into result unless that is nil.
func (k *kubernetes) call(ctx context.Context, method, path, kind string, body, result any) error {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, k.base+path, payload)
	if err != nil {
		return err
	}
	// Read each time: the kubelet replaces the token within the hour.
	token, err := os.ReadFile(filepath.Join(k.folder, "token"))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "cilium-lab")
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	response, err := k.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return &statusError{response.StatusCode, message(text)}
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(text, result)
}

// message is the text of a Status object, or what there is.
func message(text []byte) string {
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &status) == nil && status.Message != "" {
		return status.Message
	}
	return strings.TrimSpace(string(text))
}
