"""Families of directions and interventions for a trait, behind one interface; a file a group."""
