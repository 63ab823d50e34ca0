package org.junit

@Target(AnnotationTarget.FUNCTION)
annotation class Test

object Assert {
    @JvmStatic
    fun assertEquals(expected: Any?, actual: Any?) {
        if (expected != actual) throw AssertionError("expected $expected, was $actual")
    }

    @JvmStatic
    fun assertEquals(message: String, expected: Any?, actual: Any?) {
        if (expected != actual) throw AssertionError("$message: expected $expected, was $actual")
    }

    @JvmStatic
    fun assertEquals(expected: Double, actual: Double, delta: Double) {
        if (expected.compareTo(actual) != 0 && !(Math.abs(expected - actual) <= delta)) throw AssertionError("expected $expected, was $actual")
    }

    @JvmStatic
    fun assertTrue(condition: Boolean) {
        if (!condition) throw AssertionError("it is false")
    }

    @JvmStatic
    fun assertTrue(message: String, condition: Boolean) {
        if (!condition) throw AssertionError(message)
    }

    @JvmStatic
    fun assertNull(value: Any?) = assertEquals(null, value)

    @JvmStatic
    fun assertNotNull(value: Any?) {
        if (value == null) throw AssertionError("it is null")
    }

    @JvmStatic
    fun <T : Throwable> assertThrows(kind: Class<T>, block: () -> Unit): T {
        val thrown = try {
            block()
            null
        } catch (error: Throwable) {
            error
        }
        if (thrown == null || !kind.isInstance(thrown)) throw AssertionError("expected ${kind.simpleName}, was $thrown")
        return kind.cast(thrown)
    }
}
