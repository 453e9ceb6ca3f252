// json_simd - to be written.
