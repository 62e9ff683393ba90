"""The whole appliance in network namespaces: pods on one side, an IPv4-only world on the other.

`plan` says what a lab consists of, `build` makes it, `world` and `box` are the software in it. A
`holder` process keeps it alive and takes it down with itself; `client` talks to holders. `demo`
shows the main job step by step.
"""
