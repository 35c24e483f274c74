package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestOperatorRegistersWhatIsMissing(t *testing.T) {
	there := map[string]bool{definitions[0].name(): true}
	var made []string
	api := account(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			if !there[strings.TrimPrefix(r.URL.Path, definitionsPath+"/")] {
				w.WriteHeader(http.StatusNotFound)
			}
			return
		}
		var object struct {
			Metadata struct{ Name string }
		}
		_ = json.NewDecoder(r.Body).Decode(&object)
		there[object.Metadata.Name] = true
		made = append(made, object.Metadata.Name)
		w.WriteHeader(http.StatusCreated)
	})
	o := &operator{api: api, log: quiet()}
	for range 2 {
		if err := o.once(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if len(made) != len(definitions)-1 {
		t.Errorf("registered %d, wanted each missing one once: %v", len(made), made)
	}
}

func TestOneVersionIsStored(t *testing.T) {
	for _, one := range definitions {
		stored := 0
		for _, version := range one.object()["spec"].(map[string]any)["versions"].([]any) {
			if version.(map[string]any)["storage"].(bool) {
				stored++
			}
		}
		if stored != 1 {
			t.Errorf("%s stores %d versions", one.name(), stored)
		}
	}
}
