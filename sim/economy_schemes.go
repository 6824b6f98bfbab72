package sim

func econSchemes(o EconomyOptions) []EconomyScheme { return nil }
