"""The Helm chart, made of the manifests: kustomize is the source, and `make render` writes the chart from it.

`components` lists the components of kustomize, `sources` reads their files, `choices` joins a patch with an object as a
choice between values, `overrides` puts the chart's own values in, `values` declares these, and `template_file` writes
the result as text. `chart` makes the files.
"""
