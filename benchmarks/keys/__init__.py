"""How writes spread over the operational table's keys."""
