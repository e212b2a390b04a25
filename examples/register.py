import sdme

sample = "samples/farmland_blue_swir"
result = sdme.register(f"{sample}/fixed.png", f"{sample}/moving.png")
print(result.status, result.message)
result.save("out")
