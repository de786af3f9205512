# The SBOM of an archive of files, from the lines of sha256sum.
{
  bomFormat: "CycloneDX",
  specVersion: "1.5",
  version: 1,
  metadata: {timestamp: ($epoch | todate), component: {type: "file", name: $name, version: $version}},
  components: [
    inputs | capture("^(?<digest>[0-9a-f]{64})  (?<name>.+)$")
    | {type: "file", name, hashes: [{alg: "SHA-256", content: .digest}]}
  ]
}
