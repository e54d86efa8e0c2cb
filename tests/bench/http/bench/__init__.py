"""HTTP mode beside HAProxy and nginx."""
