"""The authorizer of the partner API: which tenant a token of another identity provider stands for."""
