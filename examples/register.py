import sdme

result = sdme.register("samples/city_green_nir/fixed.png", "samples/city_green_nir/moving.png")
print(result.status, result.message)
result.save("out")
