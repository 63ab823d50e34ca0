// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import java.util.Locale

/** From text to the numbers of its tokens: bytes of UTF-8, or words by their line in a vocabulary. */
class TextTokens(private val spec: TextSpec, words: List<String>) {
    private val numbers: Map<String, Long> = words.withIndex().associate { (line, word) -> word to line.toLong() }

    /** Returns the input, cut at or padded to the model's length. */
    fun apply(text: String, input: TensorSpec): Tensor {
        val folded = if (spec.lowercase) text.lowercase(Locale.ROOT) else text
        val tokens = if (spec.vocabulary == null) bytes(folded) else words(folded)
        val shape = input.shape.mapIndexed { axis, size -> if (size > 0) size else if (axis == input.shape.lastIndex) spec.length else 1 }
        return Tensor.zeros(input.dtype, shape).also { tensor ->
            for (index in 0 until tensor.size) tensor[index] = tokens.getOrElse(index) { spec.padding }.toDouble()
        }
    }

    private fun bytes(text: String): List<Long> = text.toByteArray(Charsets.UTF_8).map { it.toLong() and 0xff }

    private fun words(text: String): List<Long> =
        text.split(Regex("\\s+")).filter { it.isNotEmpty() }.map { numbers[it] ?: spec.unknown }
}
