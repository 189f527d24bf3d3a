#pragma once

#include <sodium.h>
#include <stdint.h>
#include <string.h>

// AES-256-GCM in place, nonce = prefix || number, both big-endian; the protocol has prefix 0 (C.2).
// `state` is a crypto_aead_aes256gcm_state, expanded once; nothing here allocates or keeps anything.

static inline void umbel_sodium_nonce(uint8_t nonce[12], uint32_t prefix, uint64_t number) {
    for (int i = 0; i < 4; i++) {
        nonce[i] = (uint8_t)(prefix >> (24 - 8 * i));
    }
    for (int i = 0; i < 8; i++) {
        nonce[4 + i] = (uint8_t)(number >> (56 - 8 * i));
    }
}

static inline size_t umbel_sodium_gcm_key_size(void) {
    return sizeof(crypto_aead_aes256gcm_state);
}

static inline void umbel_sodium_gcm_expand(void *state, const uint8_t key[32]) {
    crypto_aead_aes256gcm_beforenm((crypto_aead_aes256gcm_state *)state, key);
}

static inline void umbel_sodium_gcm_seal(
    const void *state, uint8_t *text, size_t text_size, uint8_t *tag, uint32_t prefix,
    uint64_t number, const uint8_t *ad, size_t ad_size) {
    uint8_t nonce[12];
    umbel_sodium_nonce(nonce, prefix, number);
    crypto_aead_aes256gcm_encrypt_detached_afternm(
        text, tag, NULL, text, text_size, ad, ad_size, NULL, nonce,
        (const crypto_aead_aes256gcm_state *)state);
}

// Nonzero if the tag holds; otherwise `text` is zeros.
static inline int umbel_sodium_gcm_open(
    const void *state, uint8_t *text, size_t text_size, const uint8_t *tag, uint32_t prefix,
    uint64_t number, const uint8_t *ad, size_t ad_size) {
    uint8_t nonce[12];
    umbel_sodium_nonce(nonce, prefix, number);
    int failure = crypto_aead_aes256gcm_decrypt_detached_afternm(
        text, NULL, text, text_size, tag, ad, ad_size, nonce,
        (const crypto_aead_aes256gcm_state *)state);
    if (failure != 0) {
        memset(text, 0, text_size);
    }
    return failure == 0;
}

// HMAC-SHA256 of up to three parts; wipes what it kept on its stack.
static inline void umbel_hmac_sha256(
    uint8_t out[32], const uint8_t *key, size_t key_size, const uint8_t *part1, size_t size1,
    const uint8_t *part2, size_t size2, const uint8_t *part3, size_t size3) {
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key, key_size);
    crypto_auth_hmacsha256_update(&state, part1, size1);
    crypto_auth_hmacsha256_update(&state, part2, size2);
    crypto_auth_hmacsha256_update(&state, part3, size3);
    crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(&state, sizeof state);
}

// HKDF-Expand of RFC 5869 with SHA-256 for out_size <= 255 * 32, straight into `out`.
static inline void umbel_hkdf_sha256_expand(
    uint8_t *out, size_t out_size, const uint8_t *prk, size_t prk_size, const uint8_t *info,
    size_t info_size) {
    uint8_t block[32];
    size_t done = 0;
    for (uint8_t counter = 1; done < out_size; counter++) {
        umbel_hmac_sha256(
            block, prk, prk_size, block, done == 0 ? 0 : sizeof block, info, info_size, &counter,
            1);
        size_t step = out_size - done < sizeof block ? out_size - done : sizeof block;
        memcpy(out + done, block, step);
        done += step;
    }
    sodium_memzero(block, sizeof block);
}

// The ChaCha20 key stream of `key` under nonce 0; `key` may not overlap `out`.
static inline void umbel_chacha20_stream(void *out, size_t out_size, const void *key) {
    const uint8_t nonce[crypto_stream_chacha20_NONCEBYTES] = {0};
    crypto_stream_chacha20((uint8_t *)out, out_size, nonce, (const uint8_t *)key);
}
