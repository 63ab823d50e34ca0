package androidx.compose.foundation.layout

import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.Dp

interface PaddingValues

class WindowInsets {
    companion object
}

val WindowInsets.Companion.safeDrawing: WindowInsets
    @Composable get() = WindowInsets()

object Arrangement {
    interface Horizontal

    interface Vertical

    interface HorizontalOrVertical : Horizontal, Vertical

    fun spacedBy(space: Dp): HorizontalOrVertical = object : HorizontalOrVertical {
        val space = space
    }

    val Start: Horizontal = spacedBy(Dp(0f))
    val Top: Vertical = spacedBy(Dp(0f))
}

interface ColumnScope

interface RowScope {
    fun Modifier.weight(weight: Float, fill: Boolean = true): Modifier = apply { check(weight > 0 && fill) }
}

fun Modifier.fillMaxWidth(fraction: Float = 1f): Modifier = apply { check(fraction > 0) }

fun Modifier.aspectRatio(ratio: Float): Modifier = apply { check(ratio > 0) }

fun Modifier.padding(all: Dp): Modifier = apply { check(all.value >= 0) }

fun Modifier.padding(horizontal: Dp = Dp(0f), vertical: Dp = Dp(0f)): Modifier = apply { check(horizontal.value + vertical.value >= 0) }

fun Modifier.padding(paddingValues: PaddingValues): Modifier = apply { paddingValues.hashCode() }

@Composable
fun Column(
    modifier: Modifier = Modifier,
    verticalArrangement: Arrangement.Vertical = Arrangement.Top,
    content: @Composable ColumnScope.() -> Unit,
) = object : ColumnScope {}.content().also { listOf(modifier, verticalArrangement) }

@Composable
fun Row(
    modifier: Modifier = Modifier,
    horizontalArrangement: Arrangement.Horizontal = Arrangement.Start,
    content: @Composable RowScope.() -> Unit,
) = object : RowScope {}.content().also { listOf(modifier, horizontalArrangement) }
