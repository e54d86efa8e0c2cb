# Runs the tests of the mesh, built on this computer, on a kernel that has WireGuard: none may excuse itself.

machine.wait_for_unit("multi-user.target")
machine.succeed("modprobe -a tun veth wireguard")
tests = "RB_KERNEL_WIREGUARD=1 /mnt/mesh-tests --test-threads 1"
status, output = machine.execute(f"{tests} 2>&1", timeout=600)
print(output)
assert status == 0, f"exit status {status}"
assert "0 passed" not in output
