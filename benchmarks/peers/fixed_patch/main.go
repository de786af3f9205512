// A webhook of net/http that reads a pod, decides nothing and adds one annotation: what a decision may cost at least.
//
// fixed_patch <address> <certificate> <key>
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
)

type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID    string `json:"uid"`
	Object struct {
		Metadata map[string]any `json:"metadata"`
		Spec     map[string]any `json:"spec"`
	} `json:"object"`
}

type response struct {
	UID       string `json:"uid"`
	Allowed   bool   `json:"allowed"`
	PatchType string `json:"patchType"`
	Patch     []byte `json:"patch"`
}

var patch = []byte(`[{"op":"add","path":"/metadata/annotations","value":{"fixed":"patch"}}]`)

func mutate(answer http.ResponseWriter, asked *http.Request) {
	body, err := io.ReadAll(asked.Body)
	found := review{}
	if err == nil {
		err = json.Unmarshal(body, &found)
	}
	if err != nil || found.Request == nil {
		http.Error(answer, "the body is no AdmissionReview", http.StatusBadRequest)
		return
	}
	found.Response = &response{UID: found.Request.UID, Allowed: true, PatchType: "JSONPatch", Patch: patch}
	found.Request = nil
	answer.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(answer).Encode(found); err != nil {
		log.Print(err)
	}
}

func main() {
	http.HandleFunc("/mutate", mutate)
	log.Fatal(http.ListenAndServeTLS(os.Args[1], os.Args[2], os.Args[3], nil))
}
