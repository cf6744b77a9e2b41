"""Models in use: what comes in and goes out counted by the minute, drift, performance, alerts, A/B, retraining.

For maintainers: `grids` makes cells of a training profile, `tallies` counts in them, `windows` holds what one minute of
one version and arm was, `store` keeps windows on a URL, `recording` fills them from a server's events. `drift`,
`performance`, `ab`, `alerts` and `retrain` are pure and read windows; `sinks` tells alerts; `watching` puts it together.
"""
