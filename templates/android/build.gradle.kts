// AGP 9 brings Kotlin itself; naming the plugins here lifts it to the version of the catalog for all modules.
plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.kotlin.compose) apply false
    alias(libs.plugins.kotlin.jvm) apply false
}
