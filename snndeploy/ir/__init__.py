"""The intermediate representation: `Network`, `Program`, `Placement` and their parts."""
