// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class JsonTest {
    @Test
    fun recordsAreCompactAsciiWithoutTheMarkOfAFrame() {
        val value = linkedMapOf("a" to "@ä😀\"\\\n", "b" to listOf(1, true, null))
        assertEquals("""{"a":"\u0040\u00e4\ud83d\ude00\"\\\n","b":[1,true,null]}""", Json.write(value))
    }

    @Test
    fun numbersHaveTheFewestDigitsThatReadBackEqual() {
        val wanted = mapOf(
            0.1 to "0.1", 1.0 to "1.0", 1e-5 to "1e-05", 123456.789 to "123456.789", 1e15 to "1000000000000000.0", 1e16 to "1e+16",
            -0.0 to "-0.0", 0.0009765625 to "0.0009765625", 1.0 / 3 to "0.3333333333333333", 5e-324 to "5e-324", 1e300 to "1e+300",
        )
        for ((value, text) in wanted) assertEquals(text, Json.number(value))
    }

    @Test
    fun numbersThatAreNotFiniteAreTexts() {
        assertEquals("""["nan","inf","-inf"]""", Json.write(listOf(Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY)))
    }

    @Test
    fun whatIsReadIsWhatWasWritten() {
        val empty = emptyMap<String, Any?>()
        val value = linkedMapOf("text" to "ä\u0000\n", "whole" to Long.MAX_VALUE, "part" to 0.1, "list" to listOf(null, empty))
        assertEquals(value, Json.parse(Json.write(value)))
    }

    @Test
    fun damagedTextIsAnError() {
        for (text in listOf("", "{", "[1,]", "01", "nan", "\"\\x\"", "{\"a\" 1}", "1 2", "\"\u0001\"", "[".repeat(100))) {
            assertThrows(JsonException::class.java) { Json.parse(text) }
        }
    }
}
