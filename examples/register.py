import sdme

result = sdme.register("samples/coast_rgb_nir/fixed.jpg", "samples/coast_rgb_nir/moving.tif")
print(result.status, result.message)
result.save("out")
