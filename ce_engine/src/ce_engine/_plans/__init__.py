"""From a loss's arguments to a slab: checked and planned, not computed. One file a loss."""
