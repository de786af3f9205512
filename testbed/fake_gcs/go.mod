module testbed/fake_gcs

go 1.26
