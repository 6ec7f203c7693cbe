"""The second door: who holds a token of another identity provider, and as which tenant they may come in."""
