"""How long it takes to erase a person, by phase and step."""
