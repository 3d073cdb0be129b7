"""The wire types of `penstock.v1`, generated from `proto/penstock/v1` by `make generate`."""
