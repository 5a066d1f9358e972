"""What a run costs: events, energy, NeuroBench's figures."""
