// SPDX-License-Identifier: 0BSD
package org.palmtop.core

/** Text that claims to be JSON and is not, or that exceeds a bound. */
class JsonException(message: String) : IllegalArgumentException(message)

/**
 * A small reader and writer of JSON: `Map`, `List`, `String`, `Long`, `Double`, `Boolean` and `null`.
 *
 * The writer makes compact ASCII as the protocol wants it: what is not ASCII is escaped, `@` too (so that the mark of
 * a frame never occurs inside a record), and numbers that are not finite become the texts `inf`, `-inf` and `nan`.
 */
object Json {
    private const val DEPTH_MAX = 32

    fun parse(text: String): Any? = Reader(text).whole()

    /** Reads [text] and returns its object; anything else is an error that names [what]. */
    @Suppress("UNCHECKED_CAST")
    fun parseObject(text: String, what: String): Map<String, Any?> =
        parse(text) as? Map<String, Any?> ?: throw JsonException("$what is no JSON object")

    fun write(value: Any?): String = StringBuilder().also { put(it, value) }.toString()

    private fun put(out: StringBuilder, value: Any?) {
        when (value) {
            null -> out.append("null")
            is String -> putText(out, value)
            is Boolean -> out.append(value)
            is Double -> out.append(number(value))
            is Float -> out.append(number(value.toDouble()))
            is Number -> out.append(value.toLong())
            is Map<*, *> -> putAll(out, '{', '}', value.entries) { entry ->
                putText(out, entry.key.toString())
                out.append(':')
                put(out, entry.value)
            }
            is Iterable<*> -> putAll(out, '[', ']', value) { put(out, it) }
            is LongArray -> put(out, value.asList())
            else -> throw JsonException("a ${value::class.simpleName} cannot be written as JSON")
        }
    }

    private fun <T> putAll(out: StringBuilder, open: Char, close: Char, items: Iterable<T>, each: (T) -> Unit) {
        out.append(open)
        items.forEachIndexed { index, item ->
            if (index > 0) out.append(',')
            each(item)
        }
        out.append(close)
    }

    private fun putText(out: StringBuilder, text: String) {
        out.append('"')
        for (char in text) {
            when {
                char == '"' || char == '\\' -> out.append('\\').append(char)
                char == '\n' -> out.append("\\n")
                char == '\r' -> out.append("\\r")
                char == '\t' -> out.append("\\t")
                char == '\b' -> out.append("\\b")
                char == '\u000c' -> out.append("\\f")
                char == '@' || char < ' ' || char > '~' -> out.append("\\u").append(hex4(char))
                else -> out.append(char)
            }
        }
        out.append('"')
    }

    private fun hex4(char: Char): String = char.code.toString(16).padStart(4, '0')

    /**
     * Writes a number with the fewest digits that read back equal, laid out as Python does: `0.1`, `1.0`, `1e-05`.
     * All encoders of the protocol agree on this form, so that their records can be compared byte for byte.
     */
    fun number(value: Double): String {
        if (value.isNaN()) return "\"nan\""
        if (value.isInfinite()) return if (value > 0) "\"inf\"" else "\"-inf\""
        if (value == 0.0) return if (1 / value < 0) "-0.0" else "0.0"
        val (digits, exponent) = shortest(Math.abs(value))
        val sign = if (value < 0) "-" else ""
        return sign + if (exponent in -4..15) fixed(digits, exponent) else scientific(digits, exponent)
    }

    /** Returns the fewest significant digits of a positive number, and the decimal exponent of the first. */
    private fun shortest(value: Double): Pair<String, Int> {
        for (precision in 0..16) {
            val text = String.format(java.util.Locale.ROOT, "%.${precision}e", value)
            if (precision == 16 || text.toDouble() == value) {
                val (mantissa, exponent) = text.split('e')
                return Pair(mantissa.replace(".", "").trimEnd('0').ifEmpty { "0" }, exponent.toInt())
            }
        }
        error("seventeen digits tell every double apart")
    }

    private fun fixed(digits: String, exponent: Int): String = when {
        exponent < 0 -> "0." + "0".repeat(-exponent - 1) + digits
        digits.length <= exponent + 1 -> digits.padEnd(exponent + 1, '0') + ".0"
        else -> digits.substring(0, exponent + 1) + "." + digits.substring(exponent + 1)
    }

    private fun scientific(digits: String, exponent: Int): String {
        val fraction = if (digits.length > 1) "." + digits.substring(1) else ""
        val power = Math.abs(exponent).toString().padStart(2, '0')
        return digits[0] + fraction + (if (exponent < 0) "e-" else "e+") + power
    }

    private class Reader(private val text: String) {
        private var at = 0

        fun whole(): Any? {
            val value = value(0)
            skipSpace()
            if (at != text.length) fail("text follows the value")
            return value
        }

        private fun value(depth: Int): Any? {
            if (depth > DEPTH_MAX) fail("it is nested too deep")
            skipSpace()
            return when (peek()) {
                '{' -> members(depth)
                '[' -> items(depth)
                '"' -> string()
                't' -> word("true", true)
                'f' -> word("false", false)
                'n' -> word("null", null)
                else -> numeral()
            }
        }

        private fun members(depth: Int): Map<String, Any?> {
            val found = LinkedHashMap<String, Any?>()
            at++
            skipSpace()
            if (taken('}')) return found
            do {
                skipSpace()
                if (peek() != '"') fail("a name is missing")
                val name = string()
                skipSpace()
                if (!taken(':')) fail("a colon is missing")
                found[name] = value(depth + 1)
                skipSpace()
            } while (taken(','))
            if (!taken('}')) fail("an object does not end")
            return found
        }

        private fun items(depth: Int): List<Any?> {
            val found = ArrayList<Any?>()
            at++
            skipSpace()
            if (taken(']')) return found
            do {
                found.add(value(depth + 1))
                skipSpace()
            } while (taken(','))
            if (!taken(']')) fail("a list does not end")
            return found
        }

        private fun string(): String {
            at++
            val out = StringBuilder()
            while (true) {
                val char = next()
                when {
                    char == '"' -> return out.toString()
                    char == '\\' -> out.append(escaped())
                    char < ' ' -> fail("a control character is in a text")
                    else -> out.append(char)
                }
            }
        }

        private fun escaped(): Char = when (val char = next()) {
            '"', '\\', '/' -> char
            'b' -> '\b'
            'f' -> '\u000c'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                if (at + 4 > text.length) fail("an escape is cut")
                val code = text.substring(at, at + 4)
                if (!code.all { it in '0'..'9' || it in 'a'..'f' || it in 'A'..'F' }) fail("an escape is no number")
                at += 4
                code.toInt(16).toChar()
            }
            else -> fail("an unknown escape")
        }

        private fun numeral(): Any {
            val found = NUMBER.find(text, at)?.takeIf { it.range.first == at } ?: fail("no value is here")
            at = found.range.last + 1
            val digits = found.value
            val whole = digits.none { it == '.' || it == 'e' || it == 'E' }
            return (if (whole) digits.toLongOrNull() else null) ?: digits.toDouble()
        }

        private fun word(word: String, value: Any?): Any? {
            if (!text.startsWith(word, at)) fail("an unknown word")
            at += word.length
            return value
        }

        private fun skipSpace() {
            while (at < text.length && text[at] in " \t\r\n") at++
        }

        private fun peek(): Char = if (at < text.length) text[at] else fail("it ends too early")

        private fun next(): Char = peek().also { at++ }

        private fun taken(char: Char): Boolean = (at < text.length && text[at] == char).also { if (it) at++ }

        private fun fail(why: String): Nothing = throw JsonException("not JSON at character $at: $why")
    }

    private val NUMBER = Regex("-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
}

/** Reads a member of a JSON object; its absence and another type are errors that name it. */
internal inline fun <reified T> Map<String, Any?>.need(name: String): T =
    this[name] as? T ?: throw JsonException("'$name' is missing or of another type")

internal fun Map<String, Any?>.needInt(name: String): Int = needLong(name).let {
    if (it !in Int.MIN_VALUE..Int.MAX_VALUE) throw JsonException("'$name' is too large")
    it.toInt()
}

internal fun Map<String, Any?>.needLong(name: String): Long = need(name)

internal fun Map<String, Any?>.needDouble(name: String): Double = need<Number>(name).toDouble()

@Suppress("UNCHECKED_CAST")
internal fun Map<String, Any?>.needObject(name: String): Map<String, Any?> = need<Map<*, *>>(name) as Map<String, Any?>

@Suppress("UNCHECKED_CAST")
internal fun Map<String, Any?>.needObjects(name: String): List<Map<String, Any?>> =
    need<List<*>>(name).map { it as? Map<String, Any?> ?: throw JsonException("'$name' holds what is no object") }

internal fun Map<String, Any?>.ints(name: String): IntArray =
    need<List<*>>(name).map { (it as? Long)?.toInt() ?: throw JsonException("'$name' holds no whole number") }
        .toIntArray()

internal fun Map<String, Any?>.floats(name: String): FloatArray =
    need<List<*>>(name).map { (it as? Number)?.toFloat() ?: throw JsonException("'$name' holds no number") }
        .toFloatArray()
