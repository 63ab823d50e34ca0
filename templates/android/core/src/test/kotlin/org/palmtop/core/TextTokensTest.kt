// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import org.junit.Assert.assertEquals
import org.junit.Test

class TextTokensTest {
    private val input = TensorSpec("ids", DType.INT32, listOf(1, 4))

    @Test
    fun wordsBecomeTheirLines() {
        val tokens = TextTokens(TextSpec("ids", 4, 0, "vocab.txt", 1, true), listOf("[pad]", "[unk]", "hello", "world"))
        assertEquals(listOf(2, 3, 1, 0), tokens.apply("Hello  WORLD\tagain", input).toIntArray().toList())
    }

    @Test
    fun withoutAVocabularyBytesAreTokens() {
        val tokens = TextTokens(TextSpec("ids", 4, 9, null, 1, false), emptyList())
        assertEquals(listOf(0xc3, 0xa4, 9, 9), tokens.apply("ä", input).toIntArray().toList())
        assertEquals(listOf(97, 98, 99, 100), tokens.apply("abcdef", input).toIntArray().toList())
    }
}
