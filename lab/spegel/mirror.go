package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"time"
)

// What the OCI distribution specification calls end-2 and end-3, with a digest: tags are known to containerd alone.
var byDigest = regexp.MustCompile(`^/v2/.+/(blobs|manifests)/sha256:([0-9a-f]{64})$`)

// A manifest is some kilobytes; the specification wants registries to take up to four megabytes.
const largestManifest = 4 << 20

// mirror answers as a registry out of a content store of containerd, a folder.
type mirror struct{ content string }

func (m mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "this registry is read only", http.StatusMethodNotAllowed)
		return
	}
	switch name := path.Clean(r.URL.Path); name {
	case "/livez":
	case "/readyz":
		// A store that cannot be read would look like one that holds nothing.
		if _, err := os.ReadDir(filepath.Join(m.content, "blobs")); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	case "/v2":
		w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	default:
		if found := byDigest.FindStringSubmatch(name); found != nil {
			m.serve(w, r, found[1] == "manifests", found[2])
			return
		}
		http.NotFound(w, r)
	}
}

func (m mirror) serve(w http.ResponseWriter, r *http.Request, isManifest bool, digest string) {
	file, err := os.Open(filepath.Join(m.content, "blobs", "sha256", digest))
	if errors.Is(err, fs.ErrNotExist) {
		http.NotFound(w, r)
		return
	}
	mediaType := "application/octet-stream"
	if err == nil {
		defer file.Close()
		if isManifest {
			mediaType, err = mediaTypeOf(file)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", "sha256:"+digest)
	// It answers ranges, by which containerd goes on with a download that was cut.
	http.ServeContent(w, r, "", time.Time{}, file)
}

// mediaTypeOf reads what a manifest says it is; those of the first OCI images say nothing.
func mediaTypeOf(file io.ReadSeeker) (string, error) {
	var manifest struct {
		MediaType string            `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := json.NewDecoder(io.LimitReader(file, largestManifest)).Decode(&manifest); err != nil {
		return "", fmt.Errorf("this is no manifest: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	switch {
	case manifest.MediaType != "":
		return manifest.MediaType, nil
	case manifest.Manifests != nil:
		return "application/vnd.oci.image.index.v1+json", nil
	default:
		return "application/vnd.oci.image.manifest.v1+json", nil
	}
}
