package androidx.compose.ui.graphics.drawscope

import androidx.compose.ui.geometry.Offset
import androidx.compose.ui.geometry.Size
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.unit.Dp

sealed class DrawStyle

class Stroke(val width: Float = 0f) : DrawStyle()

interface DrawScope {
    val size: Size

    fun Dp.toPx(): Float

    fun drawRect(color: Color, topLeft: Offset, size: Size, alpha: Float = 1f, style: DrawStyle)
}

interface ContentDrawScope : DrawScope {
    fun drawContent()
}
