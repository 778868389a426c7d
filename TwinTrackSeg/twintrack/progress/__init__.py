"""How far a run is, how long it will take, and whether it is still wanted."""
