package androidx.compose.ui.semantics

import androidx.compose.ui.Modifier

class SemanticsPropertyReceiver

@JvmInline
value class LiveRegionMode(private val value: Int) {
    companion object {
        val Polite = LiveRegionMode(0)
        val Assertive = LiveRegionMode(1)
    }
}

var SemanticsPropertyReceiver.liveRegion: LiveRegionMode
    get() = throw UnsupportedOperationException()
    set(value) = check(value.hashCode() >= 0)

var SemanticsPropertyReceiver.contentDescription: String
    get() = throw UnsupportedOperationException()
    set(value) = check(value.isNotEmpty())

fun Modifier.semantics(mergeDescendants: Boolean = false, properties: SemanticsPropertyReceiver.() -> Unit): Modifier =
    apply { if (mergeDescendants) SemanticsPropertyReceiver().properties() }

fun Modifier.clearAndSetSemantics(properties: SemanticsPropertyReceiver.() -> Unit): Modifier =
    apply { SemanticsPropertyReceiver().properties() }
