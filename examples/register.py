import sdme

pair = "samples/farmland_blue_swir"
result = sdme.register(f"{pair}/fixed.png", f"{pair}/moving.png")
print(result.status, result.message)
result.save("out")
