"""One item followed through everything: the requests that wrote it, its changes, where they are, and what has them."""
