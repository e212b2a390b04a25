import sdme

result = sdme.register("samples/farmland_blue_swir/fixed.png", "samples/farmland_blue_swir/moving.png")
print(result.status, result.message)
result.save("out")
