# Identifiers that the image and its first start agree on. tests/nix checks them with systemd-repart itself.
{
  # All identifiers of the image's disk and partitions are derived from it.
  seed = "0867da16-f251-457d-a9e8-c31f9a3c220b";
  # The disk's own, as it follows from the seed.
  disk = "b581fef7-24ed-4f31-990b-099ec86bba03";
  # The type of the partition that keeps what makes a node, drawn by lot.
  stateType = "d2c06184-d903-45ee-a9b5-a4a4def12e4c";
}
