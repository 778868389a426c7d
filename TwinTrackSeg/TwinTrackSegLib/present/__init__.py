"""What a panel says and decides, without any toolkit: every front end shows the same sentences and the same choices."""
