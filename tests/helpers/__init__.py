"""What tests share: clients, restores, traffic, and servers of their own."""
