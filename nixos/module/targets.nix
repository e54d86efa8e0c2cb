# Where clients' connections are carried to: the one target, or all of several.
lib: settings:
lib.optional (settings.proxy.target != null) settings.proxy.target
++ map (target: target.address) (
  if settings.proxy.targets == null then [ ] else settings.proxy.targets
)
