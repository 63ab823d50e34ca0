// Signatures of Jetpack Compose, Material 3 and AndroidX that the generated screens use; nothing here draws.
package androidx.compose.runtime

import kotlin.reflect.KProperty

@Target(AnnotationTarget.FUNCTION, AnnotationTarget.TYPE, AnnotationTarget.PROPERTY_GETTER)
annotation class Composable

interface State<out T> {
    val value: T
}

operator fun <T> State<T>.getValue(thisObj: Any?, property: KProperty<*>): T = value

class CompositionLocal<T>(private val make: () -> T) {
    val current: T
        @Composable get() = make()
}

@Composable
fun <T> remember(key: Any?, calculation: () -> T): T = calculation().also { key.hashCode() }
