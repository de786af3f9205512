// Reads a HelmRelease from its input, as Flux's helm-controller does, and fails if it has a field that Flux does not know.
package main

import (
	"fmt"
	"io"
	"os"

	v2 "github.com/fluxcd/helm-controller/api/v2"
	"sigs.k8s.io/yaml"
)

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		var release v2.HelmRelease
		err = yaml.UnmarshalStrict(text, &release)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
