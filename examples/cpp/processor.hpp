// Whether this processor gives the right sums for an int8 file.
#pragma once

#include <string>

#if defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

namespace bert_onnx {

/// Whether it adds products of int8 in 32 bits: AVX512_VNNI, AVX_VNNI or AMX_INT8. ARM does, however it is called.
inline bool adds_in_32_bits() {
#if defined(__x86_64__) || defined(_M_X64)
    unsigned a[4] = {}, b[4] = {};  // CPUID leaf 7, subleaves 0 and 1: EAX, EBX, ECX, EDX
#if defined(_MSC_VER)
    __cpuidex(reinterpret_cast<int*>(a), 7, 0);
    __cpuidex(reinterpret_cast<int*>(b), 7, 1);
#else
    __get_cpuid_count(7, 0, &a[0], &a[1], &a[2], &a[3]);
    __get_cpuid_count(7, 1, &b[0], &b[1], &b[2], &b[3]);
#endif
    return (a[2] >> 11 & 1) || (a[3] >> 25 & 1) || (b[0] >> 4 & 1);
#else
    return true;
#endif
}

/// x86 without VNNI adds pairs of products in 16 bits, where those of files for "avx2" alone have room.
/// @param isa `quantization.isa` of a variant in manifest.json: "avx2" for all of the target web; null, here empty, for
///     integers in the weights alone
inline bool is_right(const std::string& precision, const std::string& isa) {
    return precision != "int8" || isa == "avx2" || isa.empty() || adds_in_32_bits();
}

}  // namespace bert_onnx
