"""How everything is read once: order, plan, passes, events."""
