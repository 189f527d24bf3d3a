#pragma once

#include <emmintrin.h>
#include <intel-ipsec-mb.h>
#include <stdint.h>
#include <string.h>

// The two direct AES-256-GCM calls of the library, without its job manager.
//
// They take all their state as arguments, so any thread may call them. The library also stores 0 to
// a process-wide error word at the start of each call and reads it nowhere on this path.
struct umbel_ipsecmb_calls {
    aes_gcm_enc_dec_t seal;
    aes_gcm_enc_dec_t open;
    aes_gcm_pre_t expand;
};

// An expanded key together with the calls it was expanded for, so that the packet path reads no
// global. Must lie on a 64-byte boundary.
struct umbel_ipsecmb_key {
    struct gcm_key_data expanded;
    struct umbel_ipsecmb_calls calls;
};

// Finds the calls for this CPU; 0 if it has no AES and carry-less multiply instructions or the
// library cannot serve it.
static inline int umbel_ipsecmb_probe(struct umbel_ipsecmb_calls *calls) {
    const uint64_t needed = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ | IMB_FEATURE_SSE4_2;
    if ((imb_get_feature_flags() & needed) != needed) {
        return 0;
    }
    IMB_MGR *manager = alloc_mb_mgr(0);
    if (manager == NULL) {
        return 0;
    }
    IMB_ARCH arch = IMB_ARCH_NONE;
    init_mb_mgr_auto(manager, &arch);
    int usable = imb_get_errno(manager) == 0 && arch >= IMB_ARCH_SSE;
    if (usable) {
        calls->seal = manager->gcm256_enc;
        calls->open = manager->gcm256_dec;
        calls->expand = manager->gcm256_pre;
        usable = calls->seal != NULL && calls->open != NULL && calls->expand != NULL;
    }
    free_mb_mgr(manager);
    return usable;
}

static inline size_t umbel_ipsecmb_key_size(void) {
    return sizeof(struct umbel_ipsecmb_key);
}

static inline void umbel_ipsecmb_expand(
    void *storage, const struct umbel_ipsecmb_calls *calls, const uint8_t key[32]) {
    struct umbel_ipsecmb_key *expanded = (struct umbel_ipsecmb_key *)storage;
    expanded->calls = *calls;
    calls->expand(key, &expanded->expanded);
}

// The 12 bytes of nonce, and 4 of padding: written as one vector, since the library reads them as
// one and would wait for narrower stores.
static inline __m128i umbel_ipsecmb_nonce(uint32_t prefix, uint64_t number) {
    number = __builtin_bswap64(number);
    uint64_t low = (uint64_t)__builtin_bswap32(prefix) | number << 32;
    return _mm_set_epi64x((long long)(number >> 32), (long long)low);
}

// AES-256-GCM in place, nonce = prefix || number, both big-endian; the protocol has prefix 0 (C.2).
static inline void umbel_ipsecmb_seal(
    const void *storage, uint8_t *text, size_t text_size, uint8_t *tag, uint32_t prefix,
    uint64_t number, const uint8_t *ad, size_t ad_size) {
    const struct umbel_ipsecmb_key *key = (const struct umbel_ipsecmb_key *)storage;
    struct gcm_context_data context;
    const __m128i nonce = umbel_ipsecmb_nonce(prefix, number);
    key->calls.seal(
        &key->expanded, &context, text, text, text_size, (const uint8_t *)&nonce, ad, ad_size, tag,
        16);
}

// Nonzero if the tag holds, compared in constant time; otherwise `text` is zeros.
static inline int umbel_ipsecmb_open(
    const void *storage, uint8_t *text, size_t text_size, const uint8_t *tag, uint32_t prefix,
    uint64_t number, const uint8_t *ad, size_t ad_size) {
    const struct umbel_ipsecmb_key *key = (const struct umbel_ipsecmb_key *)storage;
    struct gcm_context_data context;
    const __m128i nonce = umbel_ipsecmb_nonce(prefix, number);
    uint64_t expected[2], given[2];
    key->calls.open(
        &key->expanded, &context, text, text, text_size, (const uint8_t *)&nonce, ad, ad_size,
        (uint8_t *)expected, 16);
    memcpy(given, tag, 16);
    if (((expected[0] ^ given[0]) | (expected[1] ^ given[1])) == 0) {
        return 1;
    }
    memset(text, 0, text_size);
    return 0;
}
